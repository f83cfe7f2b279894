"""Networks that judge frames: CLIP, DINO and RAFT from a user's folder, behind two small protocols."""
