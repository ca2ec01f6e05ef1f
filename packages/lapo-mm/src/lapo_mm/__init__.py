"""LAPO, latent-variable advantage-weighted policy optimisation (NeurIPS 2022), from image, state and lidar."""
