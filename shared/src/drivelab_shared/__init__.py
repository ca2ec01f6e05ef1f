"""Settings, engine, exact resume, checkpoints, runs and reports shared by the drivelab training packages."""
