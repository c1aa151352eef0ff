"""What else is wrong with a set: pictures, shapes, bursts, mixed classes, names. Takes arrays and gives arrays."""
