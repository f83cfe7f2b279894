"""What is done to a finished video: more frames, more pixels."""
