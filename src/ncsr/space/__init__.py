"""The super-resolution space of LR images: what depends on them alone is held; samples and likelihoods come from it."""
