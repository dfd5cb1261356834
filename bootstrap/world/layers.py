"""Provisional."""
from __future__ import annotations
import os
from bootstrap.box import Box
from bootstrap.environ import Layer, Layering, Setting, Reference, layer_names, parse_value
from bootstrap.plan import Plan
ORDER = ("common", "modes/{mode}", "services/{service}/common", "services/{service}/{mode}")
def read_layering(box: Box, plan: Plan) -> Layering:
    names = {n for p in plan.programs for n in layer_names(p, plan.identity.mode, ORDER)}
    layers = {}
    for n in names:
        settings = {}
        d = f"{box.config}/{n}"
        for f in (os.listdir(d) if os.path.isdir(d) else ()):
            if f.startswith(".") or os.path.isdir(f"{d}/{f}"): continue
            if f.endswith(".ssm"): settings[f[:-4]] = Setting(value=Reference(kind="ssm", text=open(f"{d}/{f}").read().strip()), file=f"config/{n}/{f}"); continue
            settings[f] = Setting(value=parse_value(open(f"{d}/{f}", "rb").read()), file=f"config/{n}/{f}")
        layers[n] = Layer(name=f"config/{n}", settings=settings)
    return Layering(order=ORDER, layers=layers)
