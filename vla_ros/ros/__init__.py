"""The rim: messages become numbers, parameters become dataclasses; threads and time stay here. No torch."""
