"""Weight files: reading and writing safetensors, and converting legacy pickles safely."""
