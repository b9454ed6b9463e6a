sciml compare darcy/smooth-85/v1 navier-stokes/1e-3-rollout/v1 --operators fno,unet,resnet --seeds 3 --budget 60s --output comparison
