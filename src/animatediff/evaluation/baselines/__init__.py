"""The methods that the paper compares with (Sec. 5.2), on any image model of diffusers."""
