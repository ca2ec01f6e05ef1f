"""A trajectory teacher from vehicle and infrastructure cameras, and what shows why such a teacher collapses."""
