"""How good a model is: closed loop, by question, by surprise."""
