"""Loads every module of sidestream and encodes one text with each encoder: for the image's build, which keeps bytecode
of what was loaded, and must fail where a library that is loaded late is missing."""

import importlib
import pkgutil

import store
import stream
import trainer
from trainer.content.minilm import MiniLMEncoder
from trainer.content.static import StaticEncoder

for package in (store, trainer, stream):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
importlib.import_module("torch._dynamo")  # what the first step of an optimiser loads
for encoder in (StaticEncoder(), MiniLMEncoder()):
    print(type(encoder).__name__, encoder.encode(["a red kite over the bay"]).shape)
