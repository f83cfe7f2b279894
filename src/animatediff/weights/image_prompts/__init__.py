"""The files of image prompts: IP-Adapters, and the encoder that reads their pictures."""
