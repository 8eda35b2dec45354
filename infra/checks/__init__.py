"""What can be checked of a deployment without Azure."""
