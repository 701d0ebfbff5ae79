-- Every processed record is in item_metrics exactly once, and in one line of each summary.
with

counts as (
    select
        (select count(*) from {{ ref('stg_pipeline__items') }}) as processed_items,
        (select count(*) from {{ ref('item_metrics') }}) as item_metrics,
        (select coalesce(sum(record_count), 0) from {{ ref('category_summary') }}) as category_summary,
        (select coalesce(sum(record_count), 0) from {{ ref('country_summary') }}) as country_summary,
        (select coalesce(sum(record_count), 0) from {{ ref('daily_summary') }}) as daily_summary
),

final as (
    select * from counts
    where
        processed_items != item_metrics
        or processed_items != category_summary
        or processed_items != country_summary
        or processed_items != daily_summary
)

select * from final
