"""The container files, and the lines that build images from them."""
