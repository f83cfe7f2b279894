"""Work on the text that is done once: for a prompt, for a clip, for both halves of guidance."""
