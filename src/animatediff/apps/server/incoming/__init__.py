"""What clients send: requests, uploads, and files that tell how they were made."""
