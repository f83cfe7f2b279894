"""Camera paths in use: presets and files, as rays for CameraCtrl or poses for MotionCtrl."""
