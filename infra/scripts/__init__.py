"""One file for each command that talks to Azure by way of `az` and `azd`."""
