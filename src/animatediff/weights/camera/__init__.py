"""The files of camera and object control: CameraCtrl, and MotionCtrl's two modules."""
