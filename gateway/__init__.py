"""Other people's protocols, OpenAI's first, as encoders over the same turns: strangers order in their own language."""
