"""What training and drawing at the size of SD3.5-medium and FLUX.1-dev take on one GPU, by the product's own code."""
