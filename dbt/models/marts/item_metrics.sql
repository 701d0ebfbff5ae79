-- The index serves readers of one record, stage 5's order and the test of uniqueness; the statistics, every reader.
{{ config(indexes=[{'columns': ['id']}], post_hook='analyze {{ this }}') }}

with

-- Read twice, so PostgreSQL would otherwise write a copy of all records to disk first.
items as not materialized (
    select * from {{ ref('stg_pipeline__items') }}
),

category_averages as (
    select
        category,
        round(avg(total_value), 2) as category_avg_value
    from items
    group by category
),

final as (
    select
        items.id,
        items.name,
        items.category,
        items.value,
        items.quantity,
        items.is_active,
        items.created_at,
        items.customer_name,
        items.customer_email,
        items.customer_country,
        items.total_value,
        items.discount_factor,
        items.discounted_value,
        category_averages.category_avg_value,
        items.value_percentile,
        items.value_tier,
        case
            when items.total_value > {{ literal('premium_above', 'numeric') }} then 'premium'
            when items.total_value > {{ literal('standard_above', 'numeric') }} then 'standard'
            else 'basic'
        end as pricing_tier,
        items.total_value > {{ literal('high_value_above', 'numeric') }} as is_high_value,
        case
            when not items.is_active then 'inactive'
            when items.quantity = 0 then 'out_of_stock'
            when items.quantity < {{ literal('low_stock_below', 'integer') }} then 'low_stock'
            else 'available'
        end as stock_status,
        items.processed_at,
        {{ literal('transformed_at', 'timestamptz') }} as transformed_at,
        coalesce(items.extra, '{}') as extra
    from items
    left join category_averages
        on items.category = category_averages.category
)

select * from final
