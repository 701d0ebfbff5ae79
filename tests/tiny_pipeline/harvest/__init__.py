"""The library of the harvest's notebooks."""
