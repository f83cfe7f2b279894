"""The user study of Sec. 5.2: a blind page that ranks methods, and average user ranks from answers."""
