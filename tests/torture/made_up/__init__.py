"""Made-up histories for the tests of the checker."""
