"""Training: models, augmentation, recipes, one network, ensembles."""
