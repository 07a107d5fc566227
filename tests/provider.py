"""The scripted provider, which lives in `bench.provider`."""

from bench.environment import ROOT as ROOT
from bench.provider.process import ProviderProcess as ProviderProcess
from bench.provider.process import Script as Script
