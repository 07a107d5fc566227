"""Tests of what drives the product from outside."""
