//! What every store must do, as sentences: one async function a behaviour, run against each implementation by
//! [`conformance!`](macro@crate::conformance).
//!
//! A [`Subject`] is one implementation with its clock. Behaviours see the store only through the contract; what
//! they need beside it (a crash, a damaged record) the subject does.

pub mod births;
pub mod claims;
pub mod follow_ups;
pub mod history;
pub mod lives;
pub mod local;
pub mod model;
pub mod pausing;
pub mod reopening;
mod scene;
pub mod tallies;
pub mod tasks;

pub use scene::Scene;

use crate::store::Store;
use async_trait::async_trait;
use punctual_clock::VirtualClock;
use punctual_model::{RunId, TaskId};
use std::sync::Arc;

/// An implementation under test, with an empty store open at first.
#[async_trait]
pub trait Subject: Send {
    /// The open store. Behaviours keep no copy of it across [`Self::reopen`].
    fn store(&self) -> Arc<dyn Store>;

    /// The clock of the store; the same one across [`Self::reopen`].
    fn clock(&self) -> VirtualClock;

    /// Kills whatever has the store open, with all that is only in its memory, and opens it again.
    async fn reopen(&mut self);

    /// Makes the stored record of a run unreadable; may reopen.
    async fn damage_run(&mut self, run: RunId);

    /// Makes the stored small record of a task unreadable; may reopen.
    async fn damage_task(&mut self, task: TaskId);

    /// Makes the stored definition of a task unreadable, in its first revision; may reopen.
    async fn damage_definition(&mut self, task: TaskId);

    /// How many runs a long queue has in a test of this store.
    fn many(&self) -> usize;
}

/// One test for each behaviour: `conformance!(async { subject })`, where the subject is a new one each time.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance! { @tests $subject;
            tasks: ts01_a_created_task_reads_back_the_same_by_id_by_name_and_in_the_list;
            tasks: ts02_a_limit_of_one_gives_one_and_after_excludes_its_id;
            tasks: ts02_filters_by_status_and_labels_give_only_what_they_say;
            tasks: ts04_a_deleted_task_is_gone_and_its_id_never_used_again;
            tasks: ts07_paging_visits_each_task_once_in_order_of_creation;
            tasks: a_list_says_of_each_task_what_it_says_alone_after_many_changes_and_deletions;
            tasks: tasks_that_are_asked_for_together_are_what_each_is_alone;
            tasks: a_start_is_told_of_each_task_what_its_definition_says_about_time;
            tasks: ts11_an_update_is_a_new_revision_conditional_on_the_one_that_was_read;
            tasks: ts13_activation_raises_the_checkpoint_to_its_moment_and_nothing_lowers_it;
            tasks: ts21_ts28_types_do_not_see_each_other_and_an_empty_one_is_the_systems;
            tasks: a_name_is_unique_within_a_type_and_free_after_a_rename_or_a_delete;
            tasks: of_writers_that_race_for_a_revision_or_a_name_one_wins;
            tasks: what_is_too_large_is_refused_before_anything_is_written;
            births: a_due_has_one_record_and_a_second_look_at_it_is_stale;
            births: a_due_of_a_changed_paused_or_deleted_task_is_stale;
            births: of_dues_that_race_for_one_checkpoint_one_is_stored;
            births: a_checkpoint_outlives_the_process_and_only_rises;
            births: skipped_and_missed_dues_are_born_terminal_and_move_nothing_but_the_checkpoint;
            births: a_due_with_a_reserved_worker_starts_at_once_within_every_limit;
            births: a_reserved_worker_never_lets_a_run_jump_the_queue;
            births: a_replaced_run_ends_or_is_asked_to_stop_in_the_same_commit;
            births: an_idempotency_key_gives_one_run_however_often_and_parallel_it_is_used;
            births: an_idempotency_key_holds_across_a_restart_and_for_a_day;
            births: a_paused_task_takes_runs_by_hand_and_a_deleted_one_takes_none;
            claims: xt08_a_long_queue_of_one_task_delays_no_other;
            claims: a_claim_is_given_once_and_comes_back_to_its_place_when_it_is_released;
            claims: a_tasks_own_limit_holds_and_its_end_lets_the_next_one_go;
            claims: a_key_limits_the_runs_of_all_its_tasks_together;
            claims: catch_up_goes_at_its_rate_beside_present_dues;
            claims: forced_runs_pass_the_overlap_policy_but_no_concurrency_limit;
            claims: priority_orders_tasks_and_equal_ones_take_turns;
            claims: a_run_for_later_waits_for_its_time_and_the_store_says_when;
            claims: a_changed_definition_holds_for_what_waits;
            claims: a_paused_task_goes_on_with_its_queue_and_a_deleted_one_does_not;
            claims: whoever_waits_for_work_is_woken_when_there_is_some;
            lives: a_run_lives_from_its_acceptance_to_its_end;
            lives: an_edge_with_another_attempt_or_epoch_is_stale;
            lives: a_run_begins_only_when_claimed_at_the_current_revision_under_the_current_session;
            lives: several_edges_of_one_run_are_judged_in_order;
            lives: a_terminal_record_never_changes;
            tallies: b31_b02_each_end_of_a_run_counts_once_whoever_makes_it_and_however_often_it_is_told;
            tallies: delays_and_durations_are_those_of_the_records;
            lives: ts26_canceling_a_run_for_later_marks_exactly_that_run;
            lives: xt04_a_canceled_run_ends_as_canceled_from_every_state_and_never_comes_back;
            lives: the_waiting_runs_of_a_task_are_canceled_page_by_page;
            lives: ts09_the_end_of_a_run_moves_the_progress_of_its_task_forward_and_never_back;
            lives: a_restarted_run_waits_for_its_time_and_keeps_its_count_of_attempts;
            lives: an_interrupted_run_goes_back_to_the_head_of_its_queue;
            lives: notes_are_seen_at_once_written_with_the_next_edge_and_lost_with_the_process;
            pausing: the_end_that_is_one_failure_too_many_pauses_its_task_in_the_same_commit;
            follow_ups: each_bad_end_has_exactly_one_run_that_tells_of_it_and_the_first_good_one_after_it_too;
            follow_ups: a_run_that_tells_of_another_moves_nothing_of_its_task_and_causes_no_other;
            follow_ups: no_limit_holds_up_a_run_that_tells_of_another_and_it_holds_up_none;
            follow_ups: runs_that_tell_of_others_are_kept_apart_and_end_with_their_task;
            local: what_the_executor_has_to_find_again_is_written_at_once_and_goes_with_the_end;
            local: what_hooks_have_stored_outlives_an_end_that_no_attempt_made;
            local: an_end_that_no_attempt_made_is_kept_in_mind_until_it_is_told;
            lives: a_run_that_grows_too_large_can_still_end;
            lives: unfinished_runs_are_told_apart_by_whether_they_began;
            lives: ts14_ts16_runs_are_listed_by_task_state_and_time_from_either_end;
            lives: hints_tell_of_runs_that_ended_by_another_hand;
            reopening: a_later_session_fences_off_every_write_of_an_earlier_one;
            reopening: epochs_rise_with_each_session_and_ids_are_not_given_out_again;
            reopening: a_restart_at_any_step_of_a_life_finds_that_step;
            reopening: claims_die_with_the_process_and_limits_do_not;
            reopening: what_an_earlier_session_left_at_work_can_be_adopted_or_lost;
            reopening: a_long_queue_is_whole_and_in_order_after_a_restart;
            reopening: a_delete_cut_short_is_found_and_finished;
            reopening: a_run_that_cannot_be_read_is_set_aside_and_in_nobodys_way;
            reopening: a_task_that_cannot_be_read_stops_nobody_else;
            reopening: a_definition_that_cannot_be_read_is_found_when_it_is_needed;
            history: history_is_kept_by_count_with_marks_apart;
            history: history_is_kept_by_age_and_what_is_unfinished_stays;
            history: an_overgrown_history_is_named_once_until_it_grows_again;
            history: pruning_goes_on_where_it_stopped;
            history: a_revision_is_readable_as_long_as_a_run_refers_to_it;
            model: any_history_keeps_the_invariants;
        }
    };
    (@tests $subject:expr; $($room:ident: $name:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let mut subject = $subject.await;
                $crate::conformance::$room::$name(&mut subject).await;
            }
        )*
    };
}
