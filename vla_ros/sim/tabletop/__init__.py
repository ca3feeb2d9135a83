"""The embedded MuJoCo tabletop: world, scenes, tasks, scripted expert."""
