"""What the equations share: series, elements, volumes, meshes, random fields, time steps, linear systems."""
