"""Image to video: a picture that an animation begins with, by the best way that is loaded."""
