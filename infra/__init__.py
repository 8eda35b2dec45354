"""Deploying the tiers to Azure, and checking offline that they can be."""
