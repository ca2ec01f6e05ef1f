"""Cooperative metric 3D reconstruction on OPV2V: no floating depth, no drifting scale, cars that agree."""
