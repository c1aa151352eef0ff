"""SwAV (Caron et al. 2020, arXiv:2006.09882): features of pictures, learned without labels on the engine of the ensembles."""
