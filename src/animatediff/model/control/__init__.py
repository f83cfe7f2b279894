"""Control networks: they steer a frozen image U-Net by adding residuals to its features."""
