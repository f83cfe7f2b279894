"""Paths of objects in use, as movement for MotionCtrl's object module."""
