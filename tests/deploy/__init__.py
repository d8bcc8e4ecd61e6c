"""Tests of what deploys: the manifests as they are built, the units as systemd reads them."""
