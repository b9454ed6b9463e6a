sciml compare e1/100/v2 e2/100/v2 e3/100/v2 --operators mppde,fno --seeds 3 --budget 120s --output operators
sciml compare poisson/holes/v2 --operators transolver,gnot,gno --seeds 3 --budget 120s --output operators
sciml compare poisson/holes/v2 --operators transolver --seeds 1 --budget 15m --output operators
sciml compare darcy/rough-64/v1 --operators fno,mgno --set 'mgno.loss="h1"' --set mgno.learning_rate=4e-3 --set mgno.clip=1.0 --seeds 3 --budget 120s --output operators
sciml compare navier-stokes/1e-3-rollout/v1 --operators fno,mgno --set 'mgno.loss="h1"' --set mgno.learning_rate=1e-3 --set mgno.clip=1.0 --seeds 3 --budget 120s --output operators
sciml compare darcy/smooth-85/v1 --operators fno,mgno --set fno.learning_rate=4e-3 --set fno.width=24 --set 'fno.padding=(0.125, 0.125)' --set 'fno.modes=(12, 12)' --set 'mgno.loss="h1"' --set 'mgno.optimizer="muon"' --set mgno.learning_rate=6e-3 --set mgno.weight_decay=0.01 --set mgno.clip=1.0 --set 'mgno.precision="bf16"' --seeds 3 --budget 120s --search 8 --search-budget 40s --output operators
