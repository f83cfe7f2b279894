"""What is chosen for a request: keywords that replace its fields, and fields that it leaves open."""
