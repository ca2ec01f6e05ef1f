"""What a teacher sees and predicts, as pictures: into both cameras' pictures and from above. From arrays to arrays."""
