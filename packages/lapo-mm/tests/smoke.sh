# What a freshly installed lapo-mm must be able to do, in an empty folder and about a minute.
# tools/release runs it with nothing but the wheels installed. The numbers are the smallest that make sense.
lapo-mm make-data --num_episodes 20 --reference_episodes 10
lapo-mm check-data
train --steps 20 --batch_size 16 --eval_every 10 --eval_episodes 2 --final_episodes 4 --baselines blind
evaluate --num_episodes 4 --num_q_samples 5 --num_bootstrap 10
lapo-mm diagnose
lapo-mm predict --num_episodes 1
lapo-mm export
