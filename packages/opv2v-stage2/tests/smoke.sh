# What a freshly installed opv2v-stage2 must be able to do, in an empty folder and a minute or two.
# tools/release runs it with nothing but the wheels installed. The numbers are the smallest that make sense.
opv2v-stage2 make-data --num_scenarios 3 1 2 --num_frames 2 --size 96x72
opv2v-stage2 check-data
train --stage1_steps 10 --stage2_steps 10 --model.height 24 --model.width 32 --model.channels 16 --model.layers 2 --model.heads 2
evaluate --pc_metrics --pc_save_dir clouds --num_bootstrap 10
opv2v-stage2 diagnose --num_frames 2
opv2v-stage2 predict --num_frames 1
opv2v-stage2 export
opv2v-stage2 filter --pred clouds/stage2/single/2021_08_18_19_48_05_000340.npy
