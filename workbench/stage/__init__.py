"""What a stage is made of: parameters, artefacts, manifest, conservation, progress."""
