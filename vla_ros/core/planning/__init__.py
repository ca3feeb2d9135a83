"""When to plan, and how a new plan continues the one in execution."""
