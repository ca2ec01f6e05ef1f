# What a freshly installed latent-predictor must be able to do, in an empty folder and about a minute.
# tools/release runs it with nothing but the wheels installed. The numbers are the smallest that make sense.
latent-predictor make-data --num_trajectories 6 --num_frames 40
latent-predictor check-data
train --epochs 1 --batch_size 8 --vae.epochs 1 \
  --judges.classifier_epochs 1 --judges.latent_epochs 1 --judges.pixel_epochs 1 --judges.oracle_steps 10
evaluate --num_bootstrap 10
latent-predictor predict --steps 5
latent-predictor export
