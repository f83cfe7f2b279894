"""Camera control: networks that tell motion modules how the camera moves."""
