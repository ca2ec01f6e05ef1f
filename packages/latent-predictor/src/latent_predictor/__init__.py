"""A driving world model in VAE latent space."""
