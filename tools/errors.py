"""What can go wrong with tools."""


class ToolError(Exception):
    """Raise it from a tool to tell the model, in your own words, why there is no result."""


class InvalidArguments(ToolError):
    """The model's arguments do not fit the tool."""


class ToolLoadError(Exception):
    """The settings name something that is not a tool."""
