"""The image and the compose file under a real podman."""
